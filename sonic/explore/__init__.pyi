from .inspector import Explorer as Explorer
from .start import compare as compare
from .start import explore as explore
