"""Models as files for others: Keras, ONNX, SavedModel, and a description."""
