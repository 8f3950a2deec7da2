"An embedder, a recommender and a view for SONIC."
