"""Models of data: generators and their critics, scores, samplers, and figures of quality."""
