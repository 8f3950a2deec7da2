"The program `sonic`: each module adds the commands of a room."

from . import cream as cream
from . import tails as tails  # isort: skip
from . import similar as similar  # isort: skip
from . import learn as learn  # isort: skip
from . import playlist as playlist  # isort: skip
from . import recommend as recommend  # isort: skip
from . import bench as bench  # isort: skip
from . import tune as tune  # isort: skip
from .program import app as app
from .program import main as main
