"""From delivered pictures to a prepared dataset: detection, alignment, appearance, joined sources, resampling."""
