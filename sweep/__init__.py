"""Search over prompt configurations with Ray Tune and Optuna, and keep every result in Parquet."""
