"""What follows from events: plans applied, adapters run, results written."""
