"""What Saccade costs: ``python -m benchmarks`` measures, ``python -m benchmarks.render`` writes the tables."""
