"The program `sonic`: each module adds the commands of a room."

from . import cream as cream
from . import learn as learn
from . import similar as similar
from . import tails as tails
from .program import app as app
from .program import main as main
