__version__ = "0.1.0"

# The names of __init__.pyi, each imported when it is first used, so that `import sonic` stays light
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
