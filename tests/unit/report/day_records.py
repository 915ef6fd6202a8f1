"""Days' records as the pipeline writes them, for the tests of what is made from them."""

METRICS = {
    "impression_auc": 0.6612,
    "pooled_auc": 0.6444,
    "mrr": 0.2914,
    "ndcg_5": 0.2742,
    "ndcg_10": 0.3374,
    "log_loss": 0.191,
    "calibration_error": 0.0104,
    "impressions": 300,
    "rows": 11_000,
}
CURVE = {
    "roc": [[0.0, 0.0], [0.2, 0.4], [0.6, 0.8], [1.0, 1.0]],
    "calibration": [[0.01, 0.02, 5500], [0.08, 0.07, 5500]],
}
CONTEST = {
    "champion_auc": 0.6612,
    "challenger_auc": 0.6732,
    "gain": 0.012,
    "low": 0.004,
    "high": 0.02,
    "confidence": 0.95,
    "standard_error": 0.004,
    "impressions": 300,
    "users": 290,
    "champion": METRICS,
    "challenger": {**METRICS, "impression_auc": 0.6732},
    "min_gain": 0.002,
    "slices": [
        {
            "slice": "cold items",
            "gain": 0.031,
            "low": -0.002,
            "high": 0.062,
            "impressions": 41,
            "users": 40,
        },
    ],
    "curves": {"champion": CURVE, "challenger": CURVE},
}
DRIFT = {
    "drifted": True,
    "reference": "2026-03-02 to 2026-03-04",
    "columns": [
        {
            "column": "hour",
            "measure": "JS",
            "value": 0.01,
            "threshold": 0.1,
            "drifted": False,
            "words": "same rhythm",
        },
        {
            "column": "category",
            "measure": "PSI",
            "value": 0.31,
            "threshold": 0.2,
            "drifted": True,
            "words": "sports: 31 % of candidates, was 12 %",
        },
    ],
}
VALIDATION = {
    "passed": True,
    "results": [
        {
            "expectation": "ExpectColumnValuesToNotBeNull",
            "column": "user_id",
            "severity": "critical",
            "success": True,
            "observed": "0 of 59,010",
            "unexpected": 0,
            "rows": [],
        },
        {
            "expectation": "ExpectColumnValuesToBeBetween",
            "column": "position",
            "severity": "warning",
            "success": False,
            "observed": "12 of 59,010",
            "unexpected": 12,
            "rows": [{"event_id": "e-00123", "value": "412"}],
        },
    ],
}
FINETUNE = {
    "shots": 800,
    "rows": 30_000,
    "rows_per_second": 9000.0,
    "seconds": 3.2,
    "epochs": [
        {"phase": "head", "epoch": 1, "train_loss": 0.2, "validation_auc": 0.64},
        {"phase": "head", "epoch": 2, "train_loss": 0.19, "validation_auc": 0.66},
        {"phase": "adapter", "epoch": 1, "train_loss": 0.18, "validation_auc": None},
    ],
    "kept": "head, epoch 2",
}


def make_record(day="2026-03-06", **changes):
    """A day on which everything happened."""
    return {
        "pipeline": "portal",
        "day": day,
        "revision": 1,
        "rows_read": 61_204,
        "published": 59_010,
        "quarantined": 1_836,
        "duplicates": 358,
        "late": 412,
        "quarantine_reasons": {"the line is not JSON": 388, "label is not 0 or 1": 1_448},
        "validation": VALIDATION,
        "champion": "v3",
        "champion_auc": 0.6612,
        "zero_shot_auc": 0.6221,
        "metrics": {"champion": METRICS, "zero_shot": {**METRICS, "impression_auc": 0.6221}},
        "drift": DRIFT,
        "trigger": {"retrain": True, "reasons": ["drift in category"]},
        "finetune": FINETUNE,
        "contest": CONTEST,
        "verdict": "promote",
        "reason": "gain +0.0120 (95 % interval +0.0040 to +0.0200) clears min_gain 0.002",
        "model_version": "4",
        "data_versions": {"interactions": 12, "items": 3, "item_hours": 12},
        "seconds": {"ingest": 1.25, "finetune": 83.0},
        **changes,
    }


def make_quiet_record(day="2026-03-03", **changes):
    """A day on which nothing was compared, trained or judged."""
    quiet = {
        "drift": None,
        "finetune": None,
        "contest": None,
        "metrics": {"champion": METRICS, "zero_shot": None},
        "zero_shot_auc": None,
        "trigger": {"retrain": False, "reasons": ["nothing drifted"]},
        "verdict": "no retrain",
        "reason": "nothing drifted",
        "model_version": None,
        "quarantine_reasons": {},
        "quarantined": 0,
    }
    return make_record(day, **{**quiet, **changes})
