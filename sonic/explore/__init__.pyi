from .cards import Cards as Cards
from .cards import gallery as gallery
from .catalogue import Catalogue as Catalogue
from .catalogue import library as library
from .inspector import Explorer as Explorer
from .lab import studio as studio
from .start import compare as compare
from .start import explore as explore
