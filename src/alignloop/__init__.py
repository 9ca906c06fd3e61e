"""alignloop: a pretrained language model and people's judgments go in, an assistant comes out, with the evidence."""

__version__ = "0.1.0"

__all__ = ["__version__"]
