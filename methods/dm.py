"""Distribution matching: squared distance between class-mean features, both sides augmented.

Dataset Condensation with Distribution Matching (arXiv 2110.04181), with the frozen backbone instead of random networks.
"""

from torch import Tensor

from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm_fast'
TUNED = 'nothing of its own'


@synthesis
def dm(real: RealFeatures) -> Loss:
    """Return the loss: the mean squared distance between synthetic and real class means, in units of the classes' spread."""
    target_CD = real.class_means(views=True)
    spread = (target_CD - target_CD.mean(dim=0)).square().sum(dim=1).mean()

    def loss(synthetic: Synthetic) -> Tensor:
        return (synthetic.class_means() - target_CD).square().sum(dim=1).mean() / spread

    return loss
