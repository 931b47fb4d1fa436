from .strategy import Strategy as Strategy
