"""The codec that turns any table into small integers, and the model families that learn from them."""
