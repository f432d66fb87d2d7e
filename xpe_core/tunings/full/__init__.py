"""Full fine-tuning: all of the backbone's weights are trained, in a copy that is the run's own."""
