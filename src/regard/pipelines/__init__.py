"""From text to answers: tokenize, run the model packed, decode."""
