"""The training data of networks that find clusters: stamps of mock clusters on real backgrounds."""

from .backgrounds import Backgrounds as Backgrounds
from .backgrounds import BackgroundSettings as BackgroundSettings
from .backgrounds import cut_backgrounds as cut_backgrounds
from .bank import StampBank as StampBank
from .compose import Batch as Batch
from .compose import ComposeSettings as ComposeSettings
from .compose import compose as compose
from .compose import observe as observe
from .compose import turned as turned
from .drawing import StampRenderer as StampRenderer
from .drawing import draw_places as draw_places
from .measure import background_sigma as background_sigma
from .measure import half_light_radius as half_light_radius
from .measure import observed_radius as observed_radius
from .measure import visibility as visibility
from .mocks import draw_mocks as draw_mocks
from .mocks import stamp_psfs as stamp_psfs
from .run import run_stamps as run_stamps
from .run import stamps_run as stamps_run
from .settings import StampSettings as StampSettings
from .stars import StarKinds as StarKinds
from .stars import draw_kinds as draw_kinds
from .structure import draw_eff as draw_eff
from .structure import half_number_radius as half_number_radius
from .structure import log_half_mass_density as log_half_mass_density
from .structure import propose_eff as propose_eff
