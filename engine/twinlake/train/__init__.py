"""Training with Ray Train: reads token shards, knows nothing of warehouses; Spark is not needed here."""
