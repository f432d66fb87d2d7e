"""The class whose name is nearest to the text, by the states of the encoder itself."""
