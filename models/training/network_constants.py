"""Numbers that both training and measuring need, without importing PyTorch."""

# Confidence is the chance that the error stays below this, in units of the picture's mean absolute deviation of disparity.
CONFIDENCE_TOLERANCE = 0.2
# How a picture is fed, as the registry says too.
MEAN, STD = 0.5, 0.25
