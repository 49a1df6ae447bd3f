"""Colors of classes, scores and decisions, the same in TensorBoard and in the report."""

# Okabe and Ito's palette, which every common color vision tells apart; one a foreground class.
CLASS_COLORS = ("#F0E442", "#009E73", "#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#D55E00")

# From the same palette, told apart on grey also by their lightness.
FOUND, FALSE_ALARM, MISSED = "#F0E442", "#D55E00", "#56B4E9"

# Every sixteenth color of matplotlib's inferno (CC0), whose lightness rises evenly; between them
# colors are mixed. What has no score is grey, which is no color of it.
HEAT = (
    "#000004", "#0B0724", "#210C4A", "#3D0965", "#57106E", "#71196E", "#8A226A", "#A32C61",
    "#BC3754", "#D24644", "#E45A31", "#F1731D", "#F98E09", "#FCAC11", "#F9CB35", "#F2EA69",
    "#FCFFA4",
)  # fmt: skip
NO_SCORE = "#8C9296"
