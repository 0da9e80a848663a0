"""Equipoise: a deep-learning, multimodal research framework for personalized medicine that puts every claim through a trial."""

__version__ = "0.1.0"
