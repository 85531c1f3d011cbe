"""Caffe networks (a prototxt and a caffemodel) as ONNX; knows layer types, no model by name.

`reading` turns files into messages, `network` messages into one TEST-phase graph, `layers` each layer into
ONNX nodes; `source` is the whole as an `exporters.source.Source`, and `oracle` asks OpenCV for the answer.
"""
