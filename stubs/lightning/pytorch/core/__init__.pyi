from .module import LightningModule as LightningModule
