"""What is asked: an experiment's file, its fields, its space and its groups of languages."""
