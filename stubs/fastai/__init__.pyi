# fastai 2.8.12
__version__: str
