"""Does a probe that learned elsewhere hold here?"""

from mobclip.evaluation import figures
from mobclip.evaluation.document import Block, Code, Figure, Paragraph
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import finite, fixed, n_of, plain_table, plural, whole


def section(of: Results) -> list[Block]:
    """Every transfer into this place, beside a probe of its own."""
    rows = [row for row in of.rows("transfer") if finite(row.get("r2")) is not None]
    if not rows:
        return []
    drawing = figures.dot_plot(
        [f"{of.title_of(str(row['target']))}, from {row.get('source', '?')}" for row in rows],
        [
            figures.Dots(label=label, values=[finite(row.get(key)) for row in rows])
            for key, label in (
                ("r2", "probe from elsewhere"),
                ("r2_shifted", "the same, its mean error taken off"),
                ("r2_within", "probe of this place"),
            )
            if any(finite(row.get(key)) is not None for row in rows)
        ],
        xlabel="R²",
        reference=0.0,
        reference_label="knowing the mean of this place",
        floor=-1.0,
    )
    better = sum(row["r2"] > 0 for row in rows)
    note = f"{n_of(rows, 'units')}; all of them tested, one seed."
    return [
        Paragraph(
            text="The probe learns in another place and is tested here, on embeddings that both "
            "places share. It never saw this place, not even its mean: R² below 0 says that "
            "knowing that mean would have been better. Beside it what a probe of this place "
            "reaches on its own held-out blocks."
        ),
        Figure(
            title=f"{better} of {plural(len(rows), 'transfer')} beat knowing this place's mean",
            drawing=drawing,
            alt="Dot plot of R² of transferred probes; the table below has the numbers.",
            note=note,
        ),
        plain_table(
            rows,
            "Learned elsewhere, tested here",
            [
                ("run", "run", Code),
                ("source", "learned in", str),
                ("place", "tested in", str),
                ("target", "target", of.title_of),
                ("r2", "R²", fixed),
                ("r2_shifted", "R², mean error taken off", fixed),
                ("spearman", "Spearman", fixed),
                ("r2_within", "R² of a probe of this place", fixed),
                ("n_source", "n learned from", whole),
                ("n", "n", whole),
            ],
            note=note,
        ),
    ]
