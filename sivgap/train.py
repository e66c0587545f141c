from sivgap.config.app import run_app
from sivgap.config.schema import TrainConfig
def train(c): print(c)
if __name__=='__main__': run_app('train',TrainConfig,train)
