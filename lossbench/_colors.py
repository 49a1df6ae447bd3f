"""Colors of classes, the same in TensorBoard and in the report."""

# Okabe and Ito's palette, which every common color vision tells apart; one a foreground class.
CLASS_COLORS = ("#F0E442", "#009E73", "#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#D55E00")
