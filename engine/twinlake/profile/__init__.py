"""One pass over a table: statistics of each column, what kind of column it is, and no row values."""
