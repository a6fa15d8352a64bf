"""Steps with `allocate`: the sensitivity that they need, the choice by layer, and the ordinary steps that it becomes."""
