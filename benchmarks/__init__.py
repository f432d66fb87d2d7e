"""Side by side with what a user would pick instead; each module runs with `python -m benchmarks.NAME`."""
