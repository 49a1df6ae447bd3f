"""Spectra of peptides as they are stored, beside the ions that their sequences break into."""

import csv
from itertools import accumulate

import numpy as np

PROTON, WATER = 1.007276, 18.010565
# Masses of the residues, in dalton; C carries a carbamidomethyl, as in all samples.
RESIDUES = {
    **{"G": 57.021464, "A": 71.037114, "S": 87.032028, "P": 97.052764, "V": 99.068414},
    **{"T": 101.047679, "C": 160.030649, "L": 113.084064, "I": 113.084064, "N": 114.042927},
    **{"D": 115.026943, "Q": 128.058578, "K": 128.094963, "E": 129.042593, "M": 131.040485},
    **{"H": 137.058912, "F": 147.068414, "R": 156.101111, "Y": 163.063329, "W": 186.079313},
}
WIDTH, RANGE = 0.1, (100.0, 1600.0)


def spectra_of(path):
    """The spectra of an MGF file by title: m/z and intensities."""
    found, rows = {}, []
    for line in path.read_text().splitlines():
        if line.startswith("TITLE="):
            title, rows = line.removeprefix("TITLE="), []
        elif line[:1].isdigit():
            rows.append([float(x) for x in line.split()])
        elif line == "END IONS":
            found[title] = np.array(rows).T
    return found


def ions_of(sequence):
    """m/z of the b and y ions of one charge."""
    masses = [RESIDUES[residue] for residue in sequence]
    b = [mass + PROTON for mass in accumulate(masses[:-1])]
    y = [mass + WATER + PROTON for mass in accumulate(masses[:0:-1])]
    return np.array(b + y)


def binned(folder, count):
    """Observed intensities and 1 for every ion, `count x bins`, of peptides without a change."""
    observed = spectra_of(folder / "massivekb_selected_500.mgf")
    with (folder / "massivekb_selected_500.peprec").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter=" ") if row["modifications"] == "-"]
    edges = np.arange(*RANGE, WIDTH)
    tables = [], []
    for row in rows[:count]:
        mz, intensities = observed[row["spec_id"]]
        tables[0].append(np.histogram(mz, edges, weights=intensities)[0])
        tables[1].append(np.histogram(ions_of(row["peptide"]), edges)[0] > 0)
    return [np.array(table, np.float32) for table in tables]
