"""The metrics of "Mind the Gap" (MG, ICLR 2025) and what surrounds them: pure functions on arrays. No torch.

Arrays are (P, N): P prompts, N responses of each. A utility lies in [0, 1] (mostly 0 or 1), a score in [0, 1] and is
never NaN (an evaluation that cannot be parsed is neutral upstream). Standard errors and intervals are over prompts, the
intervals of 90 %: of the population of prompts. What does not exist is None in an estimate and missing in a table.

    estimate      a number with its standard error and interval: means, ratios, shares, bootstrap over prompts
    weights       w(score): threshold, quantile, exponential
    gap           MG Def. 2.1 and 2.2, and the relative gap of the whole set
    pass_at_k     the unbiased estimator
    best_of       best-of-N, majority, and majority weighted by score
    over_n        choosing among n of the N responses, averaged over all subsets; `over_n_quantile` by a quantile
    rival         what a score adds to the likelihood
    correlation   of verifiers' scores and of their gaps
    variance      where the variance of a verdict lies, and what more verifications of a response bring
    auroc         over all pairs of responses, and within prompts
    calibration   reliability curve, Brier score and its parts; `calibration_error` without its bias
    distribution  histograms and quantiles of scores, quantiles of gaps
    ensemble      verifiers together: all must agree, or their scores are combined
    cross         generators against verifiers
    scaling       the relative gap over pre-training FLOPs
"""
