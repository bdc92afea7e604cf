"""Tables in and out: open and check a source, split off a holdout, the run folder, parts and the commit protocol."""
