"""From a DataFrame to recommendations: user_id, item_id and timestamp in, what each user is likely to want next out."""

from guided_refine import Backbone, Dataset, Progress, TrainConfig
from guided_refine.data.sample import generate

events = generate(n_items=80, n_users=300).interactions  # or pandas.read_csv("events.csv")
dataset = Dataset.from_frames(events)
model = Backbone.new("sasrec", dataset, TrainConfig(width=32, max_epochs=20, patience=5))
model.fit(dataset, progress=Progress())
print(model.recommend(events["user_id"].unique()[:3], k=5).to_string(index=False))
