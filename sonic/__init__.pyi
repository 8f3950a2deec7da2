from .config import Config as Config
from .config import SonicError as SonicError
from .cream.audio import Clip as Clip
from .cream.audio import info as info
from .cream.audio import load as load
from .cream.dataset import ImageDataset as ImageDataset
from .cream.figure import figure as figure
from .cream.figure import show as show
from .cream.imageset import ImageSet as ImageSet
from .cream.imageset import open_images as open_images
from .cream.layouts import open_collection as open_collection
from .cream.picture import picture as picture
from .cream.render import render as render
from .cream.spectrum import View as View
from .cream.views import chroma as chroma
from .cream.views import fft as fft
from .cream.views import mel as mel
from .cream.views import tempogram as tempogram
from .cream.views import views as views
from .tails.embed import embed as embed
from .tails.fuse import fuse as fuse
from .tails.neighbours import neighbours as neighbours
from .tails.table import Table as Table
from .tails.table import open_table as open_table

__version__: str
