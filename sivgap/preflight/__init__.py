"""Two minutes on a few problems that save a day: what a run would see, cost, and get wrong, before it is started.

__main__      the command
trial         as many responses as the minutes allow, scored and graded; one step of training for its speed
conversation  what the model and its judge are sent and answer, with every special token
cost          memory and hours of the whole run, from the rates of the trial
findings      all of it as numbers, and a sentence for each thing that is wrong
page          the same for readers: a terminal, and a page in Markdown
"""
