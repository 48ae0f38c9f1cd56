"""Classes of candidate clusters by people and networks, and how far they agree.

After Whitmore et al. (2021, arXiv:2107.13049). A table of agreement is made in three steps:

```python
rng = np.random.default_rng(1)
xy = rng.uniform(0.0, 1000.0, (200, 2))
human = rng.integers(1, 5, 200)
network = np.where(rng.random(200) < 0.8, human, rng.integers(1, 5, 200))

match = cross_match(xy, xy + 0.3)
pair = agreement(human[match.first], network[match.second])
dict(zip(COLUMNS, pair.row))
```
"""

from .agreement import COLUMNS as COLUMNS
from .agreement import POOLED as POOLED
from .agreement import Agreement as Agreement
from .agreement import agreement as agreement
from .agreement import agreement_fractions as agreement_fractions
from .agreement import confusion as confusion
from .agreement import contingency as contingency
from .agreement import pool as pool
from .classified import ClassifiedPipeline as ClassifiedPipeline
from .classified import ClassifierCut as ClassifierCut
from .classified import stamps_at as stamps_at
from .colours import BOX_3_LOW_TABLE as BOX_3_LOW_TABLE
from .colours import BOX_3_LOW_TEXT as BOX_3_LOW_TEXT
from .colours import ColourBox as ColourBox
from .colours import box_counts as box_counts
from .colours import colour_boxes as colour_boxes
from .colours import which_box as which_box
from .covariate import BinnedAgreement as BinnedAgreement
from .covariate import agreement_by as agreement_by
from .covariate import equal_count_bins as equal_count_bins
from .crossmatch import CrossMatch as CrossMatch
from .crossmatch import cross_match as cross_match
from .ensembles import EnsembleVote as EnsembleVote
from .ensembles import agreed_by_most as agreed_by_most
from .ensembles import ensemble_vote as ensemble_vote
from .labelled import ClassBatches as ClassBatches
from .labelled import LabelledStamps as LabelledStamps
from .labelled import on_backgrounds as on_backgrounds
from .labelled import read_labelled as read_labelled
from .labels import CLASSES as CLASSES
from .labels import SUBCLASSES as SUBCLASSES
from .labels import class_counts as class_counts
from .labels import class_labels as class_labels
from .labels import four_classes as four_classes
from .limits import absolute_limit as absolute_limit
from .limits import apparent_limit as apparent_limit
from .limits import common_limit as common_limit
from .limits import distance_modulus as distance_modulus
from .power_law import PowerLawFit as PowerLawFit
from .power_law import equal_number_edges as equal_number_edges
from .power_law import fit_power_law as fit_power_law
from .printed import Defect as Defect
from .printed import PrintedTableError as PrintedTableError
from .printed import doubtful_errors as doubtful_errors
from .printed import refuse_defects as refuse_defects
from .printed import repeated_rows as repeated_rows
from .printed import wrong_means as wrong_means
from .printed import wrong_sums as wrong_sums
from .quality import FigureOfMerit as FigureOfMerit
from .quality import agrees as agrees
from .quality import eligible as eligible
from .quality import figure_of_merit as figure_of_merit
from .quality import quality_ratio as quality_ratio
from .redundancy import mark_redundant as mark_redundant
from .spread import Spread as Spread
from .spread import spread as spread
from .training_draws import class_balanced_rows as class_balanced_rows
