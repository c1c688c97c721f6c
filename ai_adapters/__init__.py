"""AI models as adapters: a bundle (manifest and ONNX files) in, pixels in, Findings out. Knows no server."""
