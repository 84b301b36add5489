"""From a DataFrame to recommendations: user_id, item_id and timestamp in, the best new items for each user out."""

from guided_refine import Backbone, Dataset, TrainConfig
from guided_refine.data.sample import generate

events = generate(n_items=80, n_users=300).interactions  # or pandas.read_csv("events.csv")
dataset = Dataset.from_frames(events)
model = Backbone.new("sasrec", dataset, TrainConfig(width=32, max_epochs=20, patience=5))
model.fit(dataset)
print(model.recommend(events["user_id"].unique()[:3], k=5).to_string(index=False))
