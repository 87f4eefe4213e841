"""Training programs that bench.train and bench.gpu start and compare: Intermezzo and the padded baselines."""
