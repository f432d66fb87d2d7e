"""The most frequent class of the training examples, whatever a text says."""
