# transformers 5.24.0, which is typed in part: these are for where it is not installed
from .trainer import Trainer as Trainer
from .trainer_callback import PrinterCallback as PrinterCallback
from .trainer_callback import TrainerCallback as TrainerCallback
from .trainer_callback import TrainerControl as TrainerControl
from .trainer_callback import TrainerState as TrainerState
from .training_args import TrainingArguments as TrainingArguments
