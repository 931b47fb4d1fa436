# skorch 1.4.0
from . import callbacks as callbacks
from .classifier import NeuralNetClassifier as NeuralNetClassifier
from .net import NeuralNet as NeuralNet
from .regressor import NeuralNetRegressor as NeuralNetRegressor

__version__: str
