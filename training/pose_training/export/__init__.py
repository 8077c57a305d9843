"""Trained networks to ONNX, TensorRT and int8."""
