"""
Scores a bag: reads it, runs or takes over the estimates, compares them with the truth, reports; no ROS needed.

Every part imports only those before it: `notes` and `frame_result`; `bags` (files to messages); `truth`;
`evaluation_settings`; `frames` (messages to what was found in each image); `scoring` (frames and truth to numbers);
`evaluator` (all of it for one bag); `report` (numbers to pages).
"""
