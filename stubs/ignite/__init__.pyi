# pytorch-ignite 0.5.5, whose own types leave the arguments of handlers and batches open
__version__: str
