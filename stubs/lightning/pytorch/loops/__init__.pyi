from .fit_loop import _FitLoop as _FitLoop
