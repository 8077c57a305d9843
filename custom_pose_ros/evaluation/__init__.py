"""
Scores a bag: reads it, runs or takes over the estimates, compares them with the truth, reports; no ROS needed.

Every part imports only those before it: `notes`, `provenance`, `rigid`, `records` (what all speak of), `bags` (files ->
messages), `truth`, `results` (messages -> what was found in each frame), `scoring` (frames and truth -> numbers), `run`
(all of it for one bag), `report` (numbers -> pages).
"""
