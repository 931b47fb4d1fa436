from .metric import Metric as Metric
